package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster/process"
)

// operatorOf is a run whose program is a script; $D is a directory of its own.
func operatorOf(t *testing.T, script string) *run {
	t.Helper()
	directory := t.TempDir()
	binary := filepath.Join(directory, "viewline")
	require.NoError(t, os.WriteFile(binary, fmt.Appendf(nil, "#!/bin/sh\nD=%s\n%s\n", directory, script), 0o700))
	return &run{options: Options{Binary: binary, Replicas: 3}, network: &network{}, cluster: &process.Cluster{}}
}

func TestACommandIsGivenUntilTheMembersAreThose(t *testing.T) {
	r := operatorOf(t, `
case "$1 $2" in
"member list")
	if [ -f $D/3 ]; then echo '[{"replica":2,"epoch":1},{"replica":4,"epoch":1,"address":"b:1"}]'; else echo '[{"replica":1},{"replica":2}]'; fi ;;
"member replace")
	if [ "$4 $5 $6" != "coordinator 1 b:1" ]; then echo "what? $*" >&2; exit 1; fi
	if [ ! -f $D/1 ]; then touch $D/1; echo "not yet" >&2; exit 2; fi
	if [ ! -f $D/2 ]; then touch $D/2; exit 0; fi # and nothing to be seen of it
	touch $D/3; echo "unknown" >&2; exit 6 ;;
esac`)
	wanted := func(members []member) bool { return has(members, 4) && !has(members, 1) }
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	times, err := r.change(ctx, 0, wanted, "replace", "1", "b:1")
	require.NoError(t, err)
	require.Equal(t, 3, times, "refused, not seen, unknown and seen")
}

func TestAChangeThatDoesNotComeEnds(t *testing.T) {
	r := operatorOf(t, `if [ "$2" = list ]; then echo '[]'; else exit 3; fi`)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := r.change(ctx, 1, func([]member) bool { return false }, "remove", "1")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestTheNewcomerIsWhoItIsToBe(t *testing.T) {
	r := operatorOf(t, `echo '{"replica":5,"node":"'$D'/node.toml"}'`)
	file, err := r.setUp(t.Context(), node(5), "a:1")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(r.options.Binary), "node.toml"), file)
	_, err = r.setUp(t.Context(), node(4), "a:1")
	require.ErrorIs(t, err, ErrMembers)
	r = operatorOf(t, "echo nonsense")
	_, err = r.setUp(t.Context(), node(4), "a:1")
	require.ErrorContains(t, err, "nonsense")
}
