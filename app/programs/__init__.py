"""What is served beside the page, for programs: OpenAI's protocol, and numbers for Prometheus."""
