package core

// resendDoublingsMax bounds how much longer each next wait for an answer is. A disk or a link may be slow, and what is in
// flight much to send again and again.
const resendDoublingsMax = 3

// patience is how long something waits before it is sent again: longer each time. Over a link whose round trip takes longer
// than the first wait, nothing would be carried otherwise but repeated messages and the answers to them.
type patience struct {
	// ticks count since it was sent last, age since it was sent first; resent how often it was sent again.
	ticks, age, resent int
}

// due lets a tick pass, and reports whether it is time to send again.
func (p *patience) due(wait int) bool {
	p.ticks++
	p.age++
	if p.ticks < wait<<min(p.resent, resendDoublingsMax) {
		return false
	}
	p.ticks = 0
	p.resent++
	return true
}

// over ends it for what was answered. What is sent next waits as long as this answer has taken.
func (p *patience) over(wait int) {
	learnt := 0
	for learnt < resendDoublingsMax && wait<<learnt <= p.age {
		learnt++
	}
	*p = patience{resent: learnt}
}

// question is one that is asked until an answer comes, of one replica after the other. While the same is asked its nonce
// stays the same, so that an answer counts whoever of those gives it, and however long it takes; and one answer counts.
type question struct {
	patience
	nonce uint64 // 0: none is open
	first OpNumber
}

// ask makes it a question for what follows an op-number.
func (q *question) ask(first OpNumber, rand func() uint64) {
	if q.nonce == 0 || q.first != first {
		q.nonce, q.first, q.age = rand(), first, 0
	}
	q.ticks = 0
}

// answers reports whether a message answers it, and ends it then.
func (q *question) answers(m *Message, wait int) bool {
	if q.nonce == 0 || m.Nonce != q.nonce {
		return false
	}
	q.nonce = 0
	q.over(wait)
	return true
}
