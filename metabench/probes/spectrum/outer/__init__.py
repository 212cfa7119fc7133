"""The curvature of what is meta-learned: expected Hessians, and the map that adaptation is."""
