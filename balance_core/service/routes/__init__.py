"""The routes of the provider's service, one module for each subject, each with `router(provider)`."""
