"""One Chromium process tree each, from launch to an empty process group, and what its pages start out with."""
