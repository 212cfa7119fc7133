"""How fast conjugate gradients converge on the inner Hessian, predicted and measured."""
