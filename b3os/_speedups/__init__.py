"""_speedups"""
