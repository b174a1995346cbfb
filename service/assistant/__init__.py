"""The history for an assistant: tools that it may call, by the Model Context Protocol over stdin and stdout."""
