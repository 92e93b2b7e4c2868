// Package check judges recorded histories of committed transactions: are they strictly serializable?
//
// Serializable replays a history in timestamp order, which is the order that the store claims, and compares
// every read with what stands there; RealTime looks whether that order contradicts the one in which the
// transactions ran. Graph asks the same of a dependency graph (Adya, Liskov and O'Neil, ICDE 2000) with
// real-time edges and knows nothing of the claim but the order of versions; it is the second opinion.
//
// What they find is a *Counterexample or a *Cycle, which names transactions and objects. All are linear in the
// size of the history (sorting apart), pure, and safe to call from many goroutines on one history.
//
// The simulators, the bench and the command import this package; it imports only txn.
package check
