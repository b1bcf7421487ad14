"""Translating images and folders with a trained model."""
