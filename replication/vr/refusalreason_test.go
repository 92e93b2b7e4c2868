package vr

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr/core"
)

// Each reason of the core's has a name of its own.
func TestReasonsOfRefusals(t *testing.T) {
	for reason, err := range map[string]error{
		"stranger": core.ErrStranger, "view": core.ErrViewNumber, "stale_incarnation": core.ErrIncarnation, "epoch": errEpoch, "malformed": errMalformed,
	} {
		require.Equal(t, reason, whyRefused(fmt.Errorf("%w: %w: in words", core.ErrRefused, err)).String())
	}
	require.Equal(t, "invalid", whyRefused(core.ErrRefused).String())
}
