"""What is kept on this machine: every flag from the click to the disk, and every decision."""
