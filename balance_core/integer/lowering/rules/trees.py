def tree_scale(proto, name, samples):
    return None
