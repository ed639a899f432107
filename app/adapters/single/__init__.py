"""One node alone: what the cluster's ports look like without a cluster."""
