from hammer import create_app

app = create_app()
