package transactions

// random is a small generator (splitmix64: Steele, Lea and Flood, 2014): two histories in three would cost
// more to seed with a better one than to play.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1; n is at least 1.
func (r *random) below(n int) int { return int(r.next() >> 33 % uint64(n)) }

// between returns a number from low to high.
func (r *random) between(low, high int) int { return low + r.below(high-low+1) }

// chance is true so many times in a thousand.
func (r *random) chance(permille int) bool { return permille > 0 && r.below(1000) < permille }
