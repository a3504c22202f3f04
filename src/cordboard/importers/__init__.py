"""Records of other systems, made into a center file and a journal."""
