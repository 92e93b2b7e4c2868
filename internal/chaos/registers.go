package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/viewline/viewline/internal/registers"
)

// The clients of single objects: how many, how long each rests after an operation, how many objects they share, and how
// long these before there are others. So each object has a history that can be judged.
const (
	registerClients = 6
	registerPause   = 10 * time.Millisecond
	registerObjects = 3
	registerPeriod  = 10 * time.Second
	registerTimeout = 4 * time.Minute
)

// readAndWrite has clients read and write single objects until ctx ends. Those of each phase of the load are others.
func (r *run) readAndWrite(ctx context.Context, phase int) {
	object := func(random *rand.Rand) string {
		return fmt.Sprintf("chaos/register/%d/%d", random.IntN(registerObjects), time.Since(r.began)/registerPeriod)
	}
	var clients sync.WaitGroup
	for id := range registerClients {
		clients.Go(func() {
			r.history.Run(ctx, registers.Client{
				ID: phase*registerClients + id, Clerk: r.clerks[id%len(r.clerks)], Object: object, Pause: registerPause, Hurried: hurriedTimeout,
			})
		})
	}
	clients.Wait()
}
