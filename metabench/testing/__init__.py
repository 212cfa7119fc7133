"""The contracts that members keep, and what holds a member to them."""
