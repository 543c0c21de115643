package oauth

import (
	"testing"

	"github.com/tollgate/tollgate/internal/postgrestest"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }
