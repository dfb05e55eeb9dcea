"""What the sections "Traps" of the recipes say of other libraries, for the traps that no example of a page shows."""

from contextlib import asynccontextmanager

import anyio
import pytest

from antiphon import AsyncEventDispatcher, Concurrent, Event, Sequential, listener_name, resolved
from antiphon.instruments import Instrument

fastapi = pytest.importorskip("fastapi")
dishka = pytest.importorskip("dishka")
litestar_events = pytest.importorskip("litestar.events")
rodi = pytest.importorskip("rodi")
sqlalchemy = pytest.importorskip("sqlalchemy")
sqlalchemy_asyncio = pytest.importorskip("sqlalchemy.ext.asyncio")
svcs = pytest.importorskip("svcs")
sync = pytest.importorskip("asgiref.sync")
typer = pytest.importorskip("typer")
responses = pytest.importorskip("fastapi.responses")
testclient = pytest.importorskip("fastapi.testclient")
pytest.importorskip("aiosqlite")

BACKENDS = ("asyncio", "trio")


async def get_scope(request: fastapi.Request):
    with request.state.dispatcher.scope() as scoped:
        yield scoped


SCOPE = fastapi.Depends(get_scope)


class TestFastAPI:
    """docs/recipes/fastapi.md"""

    @pytest.fixture(params=BACKENDS)
    def open_client(self, request):
        def open_client(app, **options):
            return testclient.TestClient(app, backend=request.param, **options)

        return open_client

    @pytest.fixture
    def app(self):
        @asynccontextmanager
        async def lifespan(app):
            yield {"dispatcher": AsyncEventDispatcher()}

        return fastapi.FastAPI(lifespan=lifespan)

    def test_without_the_lifespan_the_state_is_empty(self, app, open_client):
        async def get(request: fastapi.Request):
            await request.state.dispatcher.adispatch("order.placed")

        app.get("/")(get)

        with pytest.raises(AttributeError, match=r"^'State' object has no attribute 'dispatcher'$"):
            open_client(app).get("/")
        with open_client(app) as client:
            assert client.get("/").status_code == 200

    def test_a_scope_lives_in_background_tasks(self, app, open_client):
        calls = []

        async def get(tasks: fastapi.BackgroundTasks, scoped=SCOPE):
            @scoped.listen("order.placed")
            async def note(event):
                calls.append(event.name)

            tasks.add_task(scoped.adispatch, "order.placed")

        app.get("/")(get)

        with open_client(app) as client:
            assert client.get("/").status_code == 200
        assert calls == ["order.placed"]

    def test_a_scope_lives_in_the_body_of_a_streaming_response(self, app, open_client):
        async def get(scoped=SCOPE):
            calls = []

            @scoped.listen("order.placed")
            async def note(event):
                calls.append(event.name)

            async def stream():
                await scoped.adispatch("order.placed")
                yield calls[0]

            return responses.StreamingResponse(stream())

        app.get("/", response_model=None)(get)

        with open_client(app) as client:
            assert client.get("/").text == "order.placed"

    def test_an_error_in_a_middleware_finds_no_handler(self, app, open_client):
        class OutOfStock(Exception): ...

        async def refuse(request, exc):
            return responses.Response(status_code=409)

        async def fail(event):
            raise OutOfStock

        async def dispatch(request, call_next):
            request.state.dispatcher.add_listener("order.placed", fail)
            await request.state.dispatcher.adispatch("order.placed")

        app.exception_handler(OutOfStock)(refuse)
        app.middleware("http")(dispatch)

        with open_client(app, raise_server_exceptions=False) as client:
            assert client.get("/").status_code == 500


class TestSQLAlchemy:
    """docs/recipes/sqlalchemy.md"""

    def test_begin_does_not_call_commit(self, tmp_path):
        commits = []

        class Session(sqlalchemy_asyncio.AsyncSession):
            async def commit(self):
                commits.append(self)
                await super().commit()

        async def main():
            engine = sqlalchemy_asyncio.create_async_engine(f"sqlite+aiosqlite:///{(tmp_path / 'shop.db').as_posix()}")
            async with Session(engine) as session:
                async with session.begin():
                    await session.connection()
                assert commits == []
                await session.commit()
                assert commits == [session]
            await engine.dispose()

        anyio.run(main)

    def test_an_event_posted_before_the_commit_of_a_dependency_finds_no_row(self, tmp_path):
        engine = sqlalchemy_asyncio.create_async_engine(f"sqlite+aiosqlite:///{(tmp_path / 'shop.db').as_posix()}")
        dispatcher = AsyncEventDispatcher()
        count = sqlalchemy.text("SELECT count(*) FROM orders")
        counts = []

        @dispatcher.listen("order.placed")
        async def confirm(event):
            async with sqlalchemy_asyncio.AsyncSession(engine) as session:
                counts.append(await session.scalar(count))

        @asynccontextmanager
        async def lifespan(app):
            async with engine.begin() as connection:
                await connection.execute(sqlalchemy.text("CREATE TABLE orders (number INTEGER)"))
            async with dispatcher.queue() as queue:
                yield {"queue": queue}
            await engine.dispose()

        async def get_session():
            async with sqlalchemy_asyncio.AsyncSession(engine) as session, session.begin():
                yield session

        async def get(request: fastapi.Request, session=fastapi.Depends(get_session)):
            await session.execute(sqlalchemy.text("INSERT INTO orders VALUES (7)"))
            await request.state.queue.post("order.placed")
            await request.state.queue.join()

        app = fastapi.FastAPI(lifespan=lifespan)
        app.get("/")(get)

        with testclient.TestClient(app) as client:
            assert client.get("/").status_code == 200
            assert client.get("/").status_code == 200
        assert counts == [0, 1]


class TestLitestar:
    """docs/recipes/litestar.md"""

    def test_its_decorator_hides_the_error_and_the_name_of_a_listener(self):

        @litestar_events.listener("order.placed")
        async def notify():
            raise OSError("the mail server does not answer")

        outcomes = []

        class Outcomes(Instrument):
            def listener_finished(self, record):
                outcomes.append(record.outcome)

        async def main():
            dispatcher = AsyncEventDispatcher()
            dispatcher.add_instrument(Outcomes())

            async def call(event):
                await notify.fn()

            dispatcher.add_listener("order.placed", call)
            await dispatcher.adispatch("order.placed")

        anyio.run(main)
        assert outcomes == ["finished"]
        assert notify.fn.__name__ == "wrapped"


class Connection:
    """Something that takes time to open."""


class Use:
    """A listener that needs a connection."""

    def __init__(self, connection: Connection):
        self.connection = connection

    async def __call__(self, event):
        event.connections.append(self.connection)


class Also(Use): ...


class Connections(Event):
    def __init__(self):
        self.connections = []


async def open_connection():
    for _ in range(5):
        await anyio.sleep(0)
    yield Connection()


class TestContainers:
    """docs/recipes/containers.md"""

    @pytest.mark.parametrize("backend", BACKENDS)
    @pytest.mark.parametrize("options", [{}, {"lock_factory": anyio.Lock}], ids=["default", "anyio"])
    def test_locks_of_dishka(self, backend, options):
        """A container of a dispatch locks only if the call that opens it has a lock, and Trio needs AnyIO's."""
        provider = dishka.Provider(scope=dishka.Scope.REQUEST)
        provider.provide(open_connection, provides=Connection)
        provider.provide(Use)
        provider.provide(Also)
        container = dishka.make_async_container(provider, lock_factory=anyio.Lock)

        async def main():
            dispatcher = AsyncEventDispatcher(strategy=Concurrent())
            async with container(**options) as request:

                @asynccontextmanager
                async def open_in_request(cls):
                    yield await request.get(cls)

                dispatcher.add_listener("order.placed", resolved(Use, open_in_request))
                dispatcher.add_listener("order.placed", resolved(Also, open_in_request))
                return await dispatcher.adispatch("order.placed", Connections())

        event = anyio.run(main, backend=backend)
        assert len(event.connections) == 2
        assert len(set(event.connections)) == (1 if options else 2)

    def test_dishka_fails_on_trio_with_the_lock_of_asyncio(self):
        provider = dishka.Provider(scope=dishka.Scope.APP)
        provider.provide(open_connection, provides=Connection)
        provider.provide(Use)

        async def main(**options):
            container = dishka.make_async_container(provider, **options)

            @asynccontextmanager
            async def open_with_dishka(cls):
                async with container() as request:
                    yield await request.get(cls)

            dispatcher = AsyncEventDispatcher()
            dispatcher.add_listener("order.placed", resolved(Use, open_with_dishka))
            event = Connections()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(dispatcher.adispatch, "order.placed", event)
                tasks.start_soon(dispatcher.adispatch, "order.placed", event)
            await container.close()
            return event.connections

        with pytest.raises(ExceptionGroup):
            anyio.run(main, backend="trio")

        async def main_with_lock():
            return await main(lock_factory=anyio.Lock)

        first, second = anyio.run(main_with_lock, backend="trio")
        assert first is second

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_a_shared_container_of_svcs_makes_a_service_twice(self, backend):
        registry = svcs.Registry()
        registry.register_factory(Connection, asynccontextmanager(open_connection))

        async def main():
            found = []
            async with svcs.Container(registry) as container, anyio.create_task_group() as tasks:

                async def get():
                    found.append(await container.aget(Connection))

                tasks.start_soon(get)
                tasks.start_soon(get)
            return found

        first, second = anyio.run(main, backend=backend)
        assert first is not second

    def test_rodi_closes_nothing(self):
        log = []

        class Session:
            def __enter__(self):
                log.append("open")
                return self

            def __exit__(self, *exc_info):
                log.append("close")

        container = rodi.Container()
        container.add_scoped(Session)
        provider = container.build_provider()
        with provider.create_scope() as scope:
            scope.get(Session)
        assert log == []


class TestTyper:
    """docs/recipes/typer.md"""

    @pytest.mark.parametrize("backend", BACKENDS)
    def test_error_policies_receive_the_exit(self, backend):
        dispatcher = AsyncEventDispatcher()

        @dispatcher.listen("order.placed")
        async def end(event):
            raise typer.Exit(3)

        received = []

        def keep(exc, event, listener):
            received.append(exc.exit_code)

        async def main():
            await dispatcher.adispatch("order.placed", strategy=Sequential(errors=keep))
            with pytest.raises(ExceptionGroup):
                await dispatcher.adispatch("order.placed", strategy=Concurrent())

        anyio.run(main, backend=backend)
        assert received == [3]


class TestDjango:
    """docs/recipes/django.md"""

    def test_a_wrapped_function_is_shown_under_its_own_name(self):

        def count(event): ...

        assert listener_name(sync.sync_to_async(count)) == listener_name(count)
