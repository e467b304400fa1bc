"""How each framework's arrays are read and made: modules that follow `masksolve.arrays.Framework`."""
