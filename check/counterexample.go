package check

import "fmt"

// Counterexample is why a history is not what the store claims.
type Counterexample struct {
	// Transaction is the one that saw what it should not have seen, or that has the wrong place.
	Transaction Transaction
	// Other is the one whose write it missed, or saw, or that it changed places with; nil if there is none.
	Other *Transaction
	// OID is the object concerned; empty for a contradiction of real time.
	OID string
	// Read is what Transaction read of it.
	Read Read
	// Want is what it should have read.
	Want Read
	// Why says in a few words what is wrong.
	Why string
}

// Error tells all of it in one line.
func (c *Counterexample) Error() string {
	text := fmt.Sprintf("check: %v: %s", &c.Transaction, c.Why)
	if c.Read.OID != "" {
		text += fmt.Sprintf(": read %v, should have read %v", c.Read, c.Want)
	}
	if c.Other != nil {
		text += fmt.Sprintf(" (%v)", c.Other)
	}
	return text
}
