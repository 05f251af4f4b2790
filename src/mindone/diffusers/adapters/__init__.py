"""Changes to a network's weights or inputs that leave the network alone: LoRA, textual inversion, IP-Adapter."""
