package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The first wait is the shortest; what was learnt from an answer is where the next question begins.
func TestPatience(t *testing.T) {
	var p patience
	var sent []int
	for tick := 1; tick <= 31; tick++ {
		if p.due(2) {
			sent = append(sent, tick)
		}
	}
	require.Equal(t, []int{2, 6, 14, 30}, sent)
	for _, c := range []struct{ age, next int }{{0, 2}, {1, 2}, {2, 4}, {3, 4}, {4, 8}, {8, 16}, {1000, 16}} {
		p = patience{age: c.age, resent: 3}
		p.over(2)
		wait := 1
		for !p.due(2) {
			wait++
		}
		require.Equal(t, c.next, wait, "after an answer that took %d ticks", c.age)
	}
}

// An answer counts though its question was asked again since, of others, and one counts.
func TestALateAnswerCounts(t *testing.T) {
	whole := entries("b", 2, 2, 2)
	b := backup1(t, entries("a", 1))
	sent := b.step(suffix(KindPrepare, 3, 2, whole, 3))
	first := askedState(t, sent, whole)
	for range 4 {
		again := b.ticks(b.Replica.config.ResendTicks << 1)
		for _, m := range of(again, KindGetState) {
			require.Equal(t, first.Nonce, m.Nonce, "it is the same question")
		}
	}
	stranger := first
	stranger.Nonce++
	b.step(stranger)
	require.Equal(t, ViewNumber(1), b.Status().View)
	b.step(first)
	require.Equal(t, ViewNumber(2), b.Status().View)
	require.Equal(t, whole, b.log)
	require.Empty(t, b.step(first), "it was answered")
}

// While what was sent is on its way over a slow link, a view change sends ever less of it again, and a primary its STARTVIEW.
func TestAViewChangeDoesNotFillTheLink(t *testing.T) {
	const ticks = 16
	log := entries("a", 1, 1)
	b := backup1(t, log)
	b.step(Message{Kind: KindStartViewChange, From: 3, View: 2})
	resend := b.Replica.config.ResendTicks
	require.Equal(t, ViewNumber(2), b.Status().View)
	b.timeout = 1000 // the link is slower than the shortest time-out
	sent := b.ticks(ticks * resend)
	require.LessOrEqual(t, len(of(sent, KindDoViewChange)), 5)
	require.GreaterOrEqual(t, len(of(sent, KindDoViewChange)), 3)

	p := primary2(t)
	told := 0
	for tick := range ticks * resend {
		if tick%resend == 0 {
			told += len(of(p.step(Message{Kind: KindStartViewChange, From: 3, View: 1}), KindStartView))
		}
		p.step(Message{Kind: KindCommitOK, From: 1, View: 1})
		p.ticks(1)
	}
	require.LessOrEqual(t, told, 6)
	require.GreaterOrEqual(t, told, 3)
	p.step(Message{Kind: KindCommitOK, From: 3, View: 1})
	for range ticks * resend {
		p.step(Message{Kind: KindCommitOK, From: 1, View: 1})
		p.ticks(1)
	}
	require.Len(t, of(p.step(Message{Kind: KindStartViewChange, From: 3, View: 1}), KindStartView), 1, "who asks anew is answered at once")
}

// A newcomer whose questions wait for a slow answer says as often as ever how far it is, or it would not be heard.
func TestANewcomerThatWaitsIsHeard(t *testing.T) {
	b := wiped3(t, Restored{})
	resend := b.Replica.config.ResendTicks
	questioned, told, nonce := 0, 0, uint64(0)
	for range 20 {
		sent := b.ticks(resend)
		require.NotEmpty(t, of(sent, KindGetCommitted))
		questioned += len(questions(sent))
		for _, m := range questions(sent) {
			require.True(t, nonce == 0 || nonce == m.Nonce, "it is the same question")
			nonce = m.Nonce
		}
		told += len(of(sent, KindGetCommitted))
	}
	require.LessOrEqual(t, questioned, 5)
	require.GreaterOrEqual(t, told, 2*20)
}

// Each attempt to recover has more time than the one before, or over a slow link every answer is one to an earlier attempt.
func TestARecoveryOverASlowLink(t *testing.T) {
	b, asked := recovering1(t, nil, 0)
	late := 5 * recoveryPatience * b.Replica.config.ResendTicks / 2 // ticks that an answer takes
	due := map[int]uint64{late: asked.Nonce}
	for tick := 1; b.Status().Status == StatusRecovering; tick++ {
		require.Less(t, tick, 20*late, "every answer is too late")
		for _, m := range of(b.ticks(1), KindRecovery) {
			due[tick+late] = m.Nonce
		}
		if nonce, arrives := due[tick]; arrives {
			b.step(recovered(3, 1, nonce, nil))
			b.step(recovered(2, 1, nonce, nil))
		}
	}
}

// Who first named the log's end may be gone, and with it that end: what another member of the view has will do.
func TestAShorterLogOfTheViewWillDo(t *testing.T) {
	whole := entries("b", 2, 2, 2, 2)
	b := backup1(t, entries("a", 1))
	first := askedState(t, b.step(suffix(KindPrepare, 3, 2, whole, 4)), whole)
	first.Entries = first.Entries[:2]
	sent := b.step(first)
	for tick := 0; len(of(sent, KindGetState)) == 0 || of(sent, KindGetState)[0].To != 2; tick++ {
		require.Less(t, tick, 1000, "replica 2 is never asked")
		sent = b.ticks(1)
	}
	b.step(askedState(t, sent, whole[:3]))
	require.Equal(t, ViewNumber(2), b.Status().View)
	require.Equal(t, StatusNormal, b.Status().Status)
	require.Equal(t, whole[:3], b.log)
}
