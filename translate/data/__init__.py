"""Reading images and making training samples of them."""
