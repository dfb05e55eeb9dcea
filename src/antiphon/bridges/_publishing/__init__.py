"""From a dispatch, or a call of ``publish``, to the broker."""
