package vr

import "errors"

// ErrNoCheckpoint: a Storage has no checkpoint yet.
var ErrNoCheckpoint = errors.New("vr: no checkpoint")
