"""Policies, trajectories and policy-gradient losses of meta-reinforcement learning."""
