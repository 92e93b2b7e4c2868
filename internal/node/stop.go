package node

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Drain hands over the primary's role of every group that a replica of this node leads, for at most 1 s. Then it
// refuses new requests with CODE_UNAVAILABLE, waits until those under way are answered, has every replica with much
// above its checkpoint write one, hands the answers to the network and closes the node. Replication goes on until
// everything is answered and written. When ctx ends first Drain closes the node at once; it returns the context's
// cause if a request was still under way.
func (n *Node) Drain(ctx context.Context) error {
	n.handOver(ctx)
	n.draining.Store(true)
	n.health.refresh()
	err := n.settle(ctx)
	n.checkpoint(ctx)
	closing, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	n.shut(closing)
	return err
}

// Close closes the node at once: what is under way is not answered. It returns when all goroutines of the node
// are gone. Closing twice, or after Drain, is harmless.
func (n *Node) Close() error {
	n.draining.Store(true)
	over, cancel := context.WithCancel(context.Background())
	cancel()
	n.shut(over)
	return nil
}

// settle waits until every session's requests are answered.
func (n *Node) settle(ctx context.Context) error {
	n.mu.Lock()
	sessions := slices.Collect(maps.Keys(n.sessions))
	n.mu.Unlock()
	for _, s := range sessions {
		select {
		case <-s.settled():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// shut ends every stream in order, and by force when graceful ends first. Whoever calls it second waits too.
func (n *Node) shut(graceful context.Context) {
	n.stopOnce.Do(func() {
		began := time.Now()
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		n.stop()
		if err := n.transport.Close(); err != nil {
			n.options.Logger.Warn("closing the transport", "error", err)
		}
		n.stopServer(graceful)
		n.running.Wait()
		n.options.Logger.Info("node closed", "address", n.Addr(), "after", time.Since(began))
	})
}

// stopServer lets the handlers return and what they wrote leave, as long as graceful lasts, and then closes
// every connection.
func (n *Node) stopServer(graceful context.Context) {
	stopped := make(chan struct{})
	if graceful.Err() == nil {
		go func() {
			defer close(stopped)
			n.server.GracefulStop()
		}()
		select {
		case <-stopped:
		case <-graceful.Done():
		}
	} else {
		close(stopped)
	}
	n.listener.closeAll()
	n.server.Stop()
	<-stopped
	// The server closes only a listener that it serves.
	_ = n.listener.Close()
}
