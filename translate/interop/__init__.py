"""Weights of other projects, in and out: pix2pix and CycleGAN, StarGAN, CUT."""

from translate.interop.architecture import load_reference

__all__ = ["load_reference"]
