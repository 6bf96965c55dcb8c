"""The whole loop on one device, in PyTorch: `noble_net.device.loop.DeviceLoop`. No other run needs PyTorch."""
