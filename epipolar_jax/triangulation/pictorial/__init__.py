"""The recursive pictorial structure model: heatmaps and limb lengths to a whole pose."""
