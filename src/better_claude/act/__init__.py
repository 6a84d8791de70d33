"""Do what the contract asks for: publish the launcher's policy, end what was left behind."""
