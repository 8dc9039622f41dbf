"""The yardstick: what runs engines side by side, meters their CPU and checks their outputs."""
