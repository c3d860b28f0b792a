{{ (secret "secret/data/shop/app").Data.data.version }}
