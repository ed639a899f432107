"""What the operating system gives: clocks, threads, disks."""
