package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/sim/group"
)

func TestSim(t *testing.T) {
	many := execute(t, "", "sim", "vr", "--seeds", "60", "-o", "json")
	require.Zero(t, many.code, many.err)
	var result struct {
		Seeds, Committed uint64
		Coverage         map[string]uint64
		Failures         []string
	}
	require.NoError(t, json.Unmarshal([]byte(many.out), &result))
	require.EqualValues(t, 60, result.Seeds)
	require.Greater(t, result.Committed, uint64(600))
	require.NotZero(t, result.Coverage["crash"])
	require.Empty(t, result.Failures)

	once := execute(t, "", "sim", "vr", "--seed", "7", "--trace")
	require.Zero(t, once.code, once.err)
	require.Contains(t, once.out, "event hash")
	require.Contains(t, once.out, "PREPARE")
	require.Equal(t, once, execute(t, "", "sim", "vr", "--seed", "7", "--trace"))
}

func TestSimRefuses(t *testing.T) {
	for _, arguments := range [][]string{
		{"--durability", "iron"}, {"--calm", "everything"}, {"--trouble-ticks", "-1"}, {"--seed", "1", "--reduce", "5"}, {"x"},
	} {
		done := execute(t, "", append([]string{"sim", "vr"}, arguments...)...)
		require.Equal(t, exitUsage, done.code, "%v: %s", arguments, done.err)
	}
}

// TestSimFails: a core that lacks a rule makes the command fail, with a way to see it again.
func TestSimFails(t *testing.T) {
	a := &app{output: "table"}
	f := &simFlags{durability: "sync", reduce: 50}
	options := group.Options{Seed: 1, Durability: group.ChoiceSync, Omit: omit.Of(core.RuleNoGap)}
	for group.Run(options).Violation == nil {
		options.Seed++ // most seeds miss the rule
	}
	err := a.simOne(options, f)
	require.ErrorIs(t, err, errSimulation)
	require.ErrorContains(t, err, fmt.Sprintf("viewline sim vr --seed %d --durability sync --calm ", options.Seed))
	code, _ := judge(err, "viewline sim vr")
	require.Equal(t, exitVerification, code)
}
