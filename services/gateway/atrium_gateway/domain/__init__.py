"""Models, routes, replies and usage: rules without technology."""
