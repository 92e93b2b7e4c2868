package vr

import (
	"errors"

	"github.com/viewline/viewline/replication/vr/core"
)

// Errors of Open and of storages.
var (
	// ErrNoCheckpoint: a Storage has no checkpoint yet, or none that is new enough.
	ErrNoCheckpoint = errors.New("vr: no checkpoint")
	// ErrDamaged is what an error of a Storage is that found something else than was written. A replica whose
	// storage says so stops.
	ErrDamaged = errors.New("vr: storage is damaged")
	// ErrOptions: Options contradict themselves or lack something.
	ErrOptions = errors.New("vr: bad options")
)

// Errors of the wire decoder.
var (
	errEpoch     = errors.New("vr: message of another epoch")
	errMalformed = errors.New("vr: malformed message")
)

// ErrWitness is what a witness answers who wants to read: it has no state.
var ErrWitness = core.ErrWitness

// errStateMachine: a state machine broke its contract.
var errStateMachine = errors.New("vr: state machine")
