"""Where releases come from without a hand: declared sources, what they hold, what of it is new, and fetching it."""
