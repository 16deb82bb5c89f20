"""Registration engines that the native one is compared with."""
