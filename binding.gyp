# For node-gyp in a checkout; the package does not have this file, see native/addon.gypi.
{ 'includes': ['native/addon.gypi'] }
