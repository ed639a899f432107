"""What a node of a cluster has in files: Corosync's, MariaDB's, libvirt's and our own, from one layout."""
