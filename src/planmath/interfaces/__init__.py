"""Doors that programs already stand at: planmath behind the interfaces of other packages.

Each module is imported by itself, with the package that it is for: `planmath.interfaces.scipy_fft`,
`planmath.interfaces.numpy_fft`, `planmath.interfaces.torch`.
"""
