"""What a policy is told when a call is wrong."""


class ToolError(Exception):
    """A call that cannot be carried out; the message tells the caller what would be right."""
