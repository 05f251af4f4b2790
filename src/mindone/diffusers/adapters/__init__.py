"""What changes a network's weights or inputs without changing the network: LoRA, textual inversion, IP-Adapter."""
