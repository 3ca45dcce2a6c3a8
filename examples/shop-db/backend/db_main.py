"""The shop's backend on real servers: `python3 db_main.py --port 8000`, with DATABASE_URL and REDIS_URL in the environment."""

from main import main
from shop.db import DatabaseStore

if __name__ == "__main__":
    main(make_store=DatabaseStore.from_environment)
