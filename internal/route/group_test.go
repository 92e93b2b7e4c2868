package route

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

func members() group { return group{members: []string{"a", "b", "c"}} }

func primaryAt(epoch, view uint64, address string) Primary {
	return Primary{Group: 1, Epoch: epoch, View: view, Replica: 9, Address: address}
}

func TestGroupAsksThePrimaryElseTheMembersInTurn(t *testing.T) {
	g := members()
	require.Equal(t, "a", g.choose())
	g.failed("b")
	require.Equal(t, "a", g.choose(), "nobody was sent to b: its failure moves nothing")
	g.failed("a")
	g.failed("a")
	require.Equal(t, "b", g.choose(), "many failures of one address move on by one")
	g.failed("b")
	g.failed("c")
	require.Equal(t, "a", g.choose(), "round the ring")
	require.True(t, g.learn(primaryAt(0, 4, "b")))
	require.Equal(t, "b", g.choose())
	g.failed("b")
	require.Equal(t, "a", g.choose(), "a primary that fails is not asked again at once")
	g.served("c")
	require.Equal(t, "c", g.choose())
}

func TestGroupNewestViewWins(t *testing.T) {
	for _, c := range []struct {
		name  string
		known Primary
		told  Primary
		news  bool
		asked string
	}{
		{"first", Primary{}, primaryAt(0, 0, "b"), true, "b"},
		{"later view", primaryAt(1, 4, "a"), primaryAt(1, 5, "b"), true, "b"},
		{"earlier view", primaryAt(1, 4, "a"), primaryAt(1, 3, "b"), false, "a"},
		{"later epoch", primaryAt(1, 4, "a"), primaryAt(2, 1, "b"), true, "b"},
		{"earlier epoch", primaryAt(2, 1, "a"), primaryAt(1, 9, "b"), false, "a"},
		{"the same", primaryAt(1, 4, "a"), primaryAt(1, 4, "a"), false, "a"},
		{"without an address", primaryAt(1, 4, "a"), primaryAt(1, 5, ""), false, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := members()
			g.primary = c.known
			require.Equal(t, c.news, g.learn(c.told))
			require.Equal(t, c.asked, g.choose())
		})
	}
}

func TestGroupOldNewsDoNotClearASuspicion(t *testing.T) {
	g := members()
	g.learn(primaryAt(1, 4, "b"))
	g.failed("b")
	require.False(t, g.learn(primaryAt(1, 4, "b")))
	require.Equal(t, "a", g.choose())
	require.True(t, g.learn(primaryAt(1, 5, "b")))
	require.Equal(t, "b", g.choose())
}

func TestGroupRedirects(t *testing.T) {
	for _, c := range []struct {
		name     string
		known    Primary
		suspect  bool
		from, to string
		view     uint64
		follow   string
		news     bool
		asked    string
	}{
		{"to the first primary known", Primary{}, false, "a", "b", 3, "b", true, "b"},
		{"into a newer view", primaryAt(1, 3, "a"), false, "a", "b", 4, "b", true, "b"},
		{"into an older view", primaryAt(1, 3, "a"), false, "b", "c", 2, "", false, "a"},
		{"in the same view, known already", primaryAt(1, 3, "c"), false, "a", "c", 3, "c", false, "c"},
		{"in the same view, suspected", primaryAt(1, 3, "c"), true, "a", "c", 3, "c", false, "c"},
		{"to itself", primaryAt(1, 3, "a"), false, "b", "b", 4, "", false, "a"},
		{"the primary knows nobody", primaryAt(1, 3, "c"), false, "c", "", 3, "", false, "a"},
		{"the primary points into the past", primaryAt(1, 3, "c"), false, "c", "b", 2, "", false, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := members()
			g.primary, g.suspected = c.known, c.suspect
			follow, news := g.observe(event{kind: refused, code: pb.Code_CODE_NOT_PRIMARY, address: c.from}, c.to, c.view)
			require.Equal(t, c.follow, follow)
			require.Equal(t, c.news, news)
			require.Equal(t, c.asked, g.choose())
			require.Equal(t, max(c.known.View, g.primary.View), g.primary.View, "views never go back")
		})
	}
}

// TestGroupAnswersOlderThanTheNews: an answer of the last primary that arrives after the news of the next one
// does not bring it back.
func TestGroupAnswersOlderThanTheNews(t *testing.T) {
	g := members()
	g.learn(primaryAt(1, 3, "a"))
	g.learn(primaryAt(1, 4, "b"))
	g.observe(event{kind: answered, address: "a"}, "", 0)
	require.Equal(t, "b", g.choose())
}

func TestGroupSuspects(t *testing.T) {
	for _, c := range []struct {
		name    string
		event   event
		suspect bool
	}{
		{"unreached", event{kind: unreached}, true},
		{"broken", event{kind: broken}, true},
		{"silent", event{kind: expired, silent: true}, true},
		{"late, not silent", event{kind: expired}, false},
		{"not serving yet", event{kind: refused, code: pb.Code_CODE_UNAVAILABLE}, true},
		{"no such group there", event{kind: refused, code: pb.Code_CODE_UNKNOWN_GROUP}, true},
		{"overloaded", event{kind: refused, code: pb.Code_CODE_OVERLOADED}, false},
		{"refused for the request's own sake", event{kind: refused, code: pb.Code_CODE_LIMIT}, false},
		{"answered", event{kind: answered}, false},
		{"closed", event{kind: ended}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := members()
			g.learn(primaryAt(1, 3, "a"))
			c.event.address = "a"
			g.observe(c.event, "", 0)
			require.Equal(t, c.suspect, g.choose() != "a")
		})
	}
}

func TestSilence(t *testing.T) {
	require.False(t, silent(suspectAfter-1, time.Hour), "asked too short a time ago")
	require.False(t, silent(time.Second, time.Second-1), "something came since")
	require.True(t, silent(time.Second, time.Second))
}

func TestStall(t *testing.T) {
	require.EqualValues(t, 13, stalledAt(10, 2, 3), "an idle stream has its whole time again")
	require.EqualValues(t, 15, stalledAt(10, 12, 3), "whatever it brings is a sign of life")
}

func TestGroupWithoutMembersStaysWithWhatItKnows(t *testing.T) {
	g := group{}
	require.Equal(t, "", g.choose())
	g.learn(primaryAt(1, 3, "a"))
	g.failed("a")
	require.Equal(t, "a", g.choose())
	g.setMembers([]string{"b"})
	require.Equal(t, "b", g.choose())
}
