package vr

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestADutyRestsInProportion(t *testing.T) {
	for _, test := range []struct {
		name    string
		percent int
		took    []time.Duration
		rests   []time.Duration
	}{
		{"a fifth of the time", 20, []time.Duration{10 * time.Millisecond, 50 * time.Millisecond}, []time.Duration{40 * time.Millisecond, 200 * time.Millisecond}},
		{"half of it", 50, []time.Duration{10 * time.Millisecond}, []time.Duration{10 * time.Millisecond}},
		{"all of it", 100, []time.Duration{10 * time.Millisecond, time.Hour}, []time.Duration{0, 0}},
		{"short rests are put together", 20, []time.Duration{time.Millisecond, time.Millisecond, 0}, []time.Duration{0, 8 * time.Millisecond, 0}},
		{"a long one is cut", 1, []time.Duration{time.Minute, time.Millisecond}, []time.Duration{2 * time.Second, 99 * time.Millisecond}},
		{"nothing was written", 20, []time.Duration{0}, []time.Duration{0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := duty{percent: test.percent, restMax: 2 * time.Second}
			for i, took := range test.took {
				require.Equal(t, test.rests[i], d.pause(took), "write %d", i)
			}
		})
	}
}

func TestADutyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		d := duty{percent: 20, restMax: time.Minute}
		require.NoError(t, d.rest(t.Context(), time.Second))
		require.Equal(t, 4*time.Second, time.Since(began))
		ended := errors.New("it ended")
		ctx, end := context.WithCancelCause(t.Context())
		end(ended)
		require.ErrorIs(t, d.rest(ctx, time.Second), ended)
		require.Equal(t, 4*time.Second, time.Since(began))
	})
}
