"""Helpers that tests share: `from lib.rpcnode import RpcNode`."""
