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
	to := func(epoch, view uint64, address string) Primary {
		return Primary{Epoch: epoch, View: view, Address: address}
	}
	for _, c := range []struct {
		name    string
		known   Primary
		suspect bool
		from    string
		told    Primary
		follow  string
		news    bool
		asked   string
	}{
		{"to the first primary known", Primary{}, false, "a", to(0, 3, "b"), "b", true, "b"},
		{"into a newer view", primaryAt(1, 3, "a"), false, "a", to(1, 4, "b"), "b", true, "b"},
		{"into an older view", primaryAt(1, 3, "a"), false, "b", to(1, 2, "c"), "", false, "a"},
		{"in the same view, known already", primaryAt(1, 3, "c"), false, "a", to(1, 3, "c"), "c", false, "c"},
		{"in the same view, suspected", primaryAt(1, 3, "c"), true, "a", to(1, 3, "c"), "c", false, "c"},
		{"to itself", primaryAt(1, 3, "a"), false, "b", to(1, 4, "b"), "", false, "a"},
		{"the primary knows nobody", primaryAt(1, 3, "c"), false, "c", to(1, 3, ""), "", false, "a"},
		{"the primary points into the past", primaryAt(1, 3, "c"), false, "c", to(1, 2, "b"), "", false, "a"},
		{"to a newcomer in a later epoch", primaryAt(1, 3, "a"), false, "a", to(2, 4, "d"), "d", true, "d"},
		{"a later epoch counts before the view", primaryAt(1, 9, "a"), false, "b", to(2, 4, "d"), "d", true, "d"},
		{"into an earlier epoch", primaryAt(2, 4, "c"), false, "a", to(1, 9, "b"), "", false, "c"},
		{"into an epoch that is over by the map", Primary{Epoch: 0, View: 9}, false, "a", to(0, 10, "b"), "", false, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := members()
			g.epoch = 1
			if c.told.Epoch == 0 && c.known == (Primary{}) {
				g.epoch = 0
			}
			g.primary, g.suspected = c.known, c.suspect
			follow, news := g.observe(event{kind: refused, code: pb.Code_CODE_NOT_PRIMARY, address: c.from}, c.told)
			require.Equal(t, c.follow, follow)
			require.Equal(t, c.news, news)
			require.Equal(t, c.asked, g.choose())
			require.GreaterOrEqual(t, g.compare(c.known.Epoch, c.known.View), 0, "(epoch, view) never goes back")
			if c.news {
				require.False(t, g.learn(primaryAt(c.told.Epoch, c.told.View-1, "z")), "what is older than a redirect does not undo it")
				require.Equal(t, c.asked, g.choose())
			}
		})
	}
}

func TestGroupMembersOfEpochs(t *testing.T) {
	of := func(addresses ...string) (all []Member) {
		for i, address := range addresses {
			all = append(all, Member{Replica: uint32(i + 1), Address: address})
		}
		return all
	}
	for _, c := range []struct {
		name    string
		primary Primary
		epoch   uint64
		members []Member
		changed bool
		want    []string
		asked   string
	}{
		{"the same again", primaryAt(1, 3, "b"), 1, of("a", "b", "c"), false, []string{"a", "b", "c"}, "b"},
		{"of an epoch that is over", primaryAt(1, 3, "b"), 0, of("x"), false, []string{"a", "b", "c"}, "b"},
		{"the primary has stayed", primaryAt(1, 3, "b"), 2, of("b", "c", "d"), true, []string{"b", "c", "d"}, "b"},
		{"the primary has left", primaryAt(1, 3, "b"), 2, of("c", "d"), true, []string{"c", "d"}, "c"},
		{"the primary is known from that epoch already", primaryAt(2, 4, "e"), 2, of("c", "d"), true, []string{"c", "d"}, "e"},
		{"or from a later one", primaryAt(3, 9, "e"), 2, of("c", "d"), true, []string{"c", "d"}, "e"},
		{"a witness is never asked", primaryAt(1, 3, "a"), 2, []Member{{Replica: 1, Address: "a", Witness: true}, {Replica: 2, Address: "b"}}, true, []string{"b"}, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := members()
			g.epoch, g.primary, g.cursor = 1, c.primary, 2
			require.Equal(t, c.changed, g.setMembers(c.epoch, c.members))
			require.Equal(t, c.want, g.members)
			require.Equal(t, c.asked, g.choose())
			for range 4 { // whoever fails, only members are asked
				g.failed(g.choose())
				require.Contains(t, c.want, g.choose())
			}
		})
	}
}

// TestGroupForgetsEpochs: news of an epoch that is over bring nobody back, whatever their view.
func TestGroupForgetsEpochs(t *testing.T) {
	g := members()
	g.learn(primaryAt(0, 9, "a"))
	require.True(t, g.setMembers(1, []Member{{Replica: 4, Address: "d"}}))
	require.False(t, g.learn(primaryAt(0, 10, "a")))
	require.Equal(t, "d", g.choose())
	require.True(t, g.learn(primaryAt(1, 10, "d")))
}

// TestGroupAnswersOlderThanTheNews: an answer of the last primary that arrives after the news of the next one
// does not bring it back.
func TestGroupAnswersOlderThanTheNews(t *testing.T) {
	g := members()
	g.learn(primaryAt(1, 3, "a"))
	g.learn(primaryAt(1, 4, "b"))
	g.observe(event{kind: answered, address: "a"}, Primary{})
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
			g.observe(c.event, Primary{})
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
	require.True(t, g.setMembers(0, []Member{{Replica: 1, Address: "b"}}))
	require.Equal(t, "b", g.choose())
}
